package main

import (
	"fmt"
	"strings"

	"torrentfs/cmd/torrentfs/internal/ui"
)

// size is a number of bytes on the command line: 65536, 64K, 64M, 1.5GiB, 1GB.
type size int64

// UnmarshalText parses a size.
func (s *size) UnmarshalText(text []byte) error {
	n, err := ui.ParseSize(string(text))
	*s = size(n)
	return err
}

func (s size) String() string { return ui.FormatBytes(int64(s)) }

// rate is a number of bytes per second: 500K, 2M/s, 1.5MiB/s; 0 or "off" is
// no limit.
type rate int64

// UnmarshalText parses a rate.
func (r *rate) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	if s == "off" || s == "unlimited" {
		*r = 0
		return nil
	}
	n, err := ui.ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return fmt.Errorf("parse rate %q: want a number of bytes per second such as 500K, 2M/s or off", text)
	}
	*r = rate(n)
	return nil
}
