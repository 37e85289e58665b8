package library

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"torrentfs/fs"
)

// Unavailable is what becomes of a read whose bytes do not come.
type Unavailable uint8

// The policies.
const (
	Block   Unavailable = iota // it waits
	Timeout                    // it fails after a time
	Fail                       // it fails as soon as nobody within reach has the bytes
)

// DefaultUnavailableTimeout is how long a read waits under [Timeout].
const DefaultUnavailableTimeout = 30 * time.Second

// names are how users write the policies.
func (Unavailable) names() [3]string { return [...]string{"block", "timeout", "eio"} }

func (u Unavailable) String() string { return u.names()[u] }

// UnmarshalText parses block, timeout or eio.
func (u *Unavailable) UnmarshalText(text []byte) error {
	for i, name := range u.names() {
		if string(text) == name {
			*u = Unavailable(i)
			return nil
		}
	}
	return fmt.Errorf("parse policy %q: want block, timeout or eio", text)
}

// OnUnavailable is the policy of a torrent or of one of its files.
type OnUnavailable struct {
	Policy  Unavailable
	Timeout time.Duration // of [Timeout]; 0 = DefaultUnavailableTimeout
}

// String is what [ParseOnUnavailable] reads.
func (o OnUnavailable) String() string {
	if o.Policy == Timeout {
		return fmt.Sprintf("%s=%s", o.Policy, o.timeout())
	}
	return o.Policy.String()
}

func (o OnUnavailable) timeout() time.Duration {
	if o.Timeout <= 0 {
		return DefaultUnavailableTimeout
	}
	return o.Timeout
}

// ParseOnUnavailable parses "block", "eio", "timeout" or "timeout=20s".
func ParseOnUnavailable(s string) (o OnUnavailable, err error) {
	name, after, timed := strings.Cut(s, "=")
	if err := o.Policy.UnmarshalText([]byte(name)); err != nil {
		return o, err
	}
	if !timed {
		return o, nil
	}
	o.Timeout, err = time.ParseDuration(after)
	if err == nil && (o.Policy != Timeout || o.Timeout <= 0) {
		err = errors.New("a time above zero belongs to timeout alone")
	}
	if err != nil {
		return OnUnavailable{}, fmt.Errorf("parse policy %q: %w", s, err)
	}
	return o, nil
}

// UnavailableError is why a read failed under a policy. It is [fs.ErrUnavailable].
type UnavailableError struct {
	Path   string
	Offset int64 // in the file
	Waited time.Duration
	Reason string // what it waited for
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("read %s at %d: gave up after %s: %s", e.Path, e.Offset, e.Waited.Round(time.Millisecond), e.Reason)
}

// Is makes it the file system's error of that kind.
func (e *UnavailableError) Is(target error) bool { return target == fs.ErrUnavailable }
