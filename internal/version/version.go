package version

import "runtime/debug"

// The number of the release, and what is made of it.
const (
	Number = "0.1"

	// Client is the name that peers show (BEP 10, "v").
	Client = "torrentfs " + Number
	// UserAgent is the User-Agent of HTTP requests.
	UserAgent = "torrentfs/" + Number
	// PeerID begins our peer ids (BEP 20): two letters, and a digit for each part of the number.
	PeerID = "-TF0100-"
	// DHT is the client in messages of the DHT (BEP 5, "v"): two letters, and two bytes of the
	// number.
	DHT = "tf\x00\x01"
)

// release is set by the linker (-X torrentfs/internal/version.release=…) if the build knows it.
var release string

// String is the release, else the commit that the binary was built from.
func String() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision + modified
}
