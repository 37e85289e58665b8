package library

import (
	"fmt"

	"torrentfs/cache"
	"torrentfs/metainfo"
	"torrentfs/picker"
	"torrentfs/swarm"
)

// Types and errors of the packages below that callers of this one handle.
type (
	// PeerStats is a snapshot of one connection.
	PeerStats = swarm.PeerStats
	// WebSeedStats is a snapshot of one web seed.
	WebSeedStats = swarm.WebSeedStats
	// MetadataProgress is how far a search for metadata has come.
	MetadataProgress = swarm.MetadataProgress
	// HangError is that a disk does not answer; see [Library.Close].
	HangError = cache.HangError
)

// ErrLocked is that another process has the torrent's data folder; see [AddOptions.Purpose].
var ErrLocked = cache.ErrLocked

// Locate finds the names under which a torrent's files lie in a folder, by index in the torrent's
// list; for [torrentfs/verify.Options].
func Locate(dir string, info *metainfo.Info) ([]string, error) { return cache.Locate(dir, info) }

// Strategy is in which order the pieces of a torrent are fetched that nobody reads yet. What a
// reader waits for, and what it will want soon, comes first in each.
type Strategy picker.Order

// The strategies.
const (
	RarestFirst = Strategy(picker.RarestFirst) // what the fewest peers have: best for the swarm, and the default
	AsItComes   = Strategy(picker.AsItComes)   // any piece that a peer has
	InOrder     = Strategy(picker.InOrder)     // from the first to the last
)

// Encryption is the policy on encrypted connections (Message Stream Encryption).
type Encryption swarm.Encryption

// The policies.
const (
	EncryptionPrefer  = Encryption(swarm.EncryptionPrefer)  // take both kinds, and dial in plain first
	EncryptionRequire = Encryption(swarm.EncryptionRequire) // RC4 alone
	EncryptionDisable = Encryption(swarm.EncryptionDisable) // plain alone
)

// UnmarshalText parses prefer, require or disable.
func (e *Encryption) UnmarshalText(text []byte) error {
	switch string(text) {
	case "prefer":
		*e = EncryptionPrefer
	case "require":
		*e = EncryptionRequire
	case "disable":
		*e = EncryptionDisable
	default:
		return fmt.Errorf("parse policy %q: want prefer, require or disable", text)
	}
	return nil
}

func (s Strategy) String() string { return picker.Order(s).String() }
