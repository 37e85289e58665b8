package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes on the command line: 65536, 64K, 64M, 1.5GiB, 1GB.
type size int64

// UnmarshalText parses a size.
func (s *size) UnmarshalText(text []byte) error {
	n, err := parseSize(string(text))
	*s = size(n)
	return err
}

func (s size) String() string { return formatBytes(int64(s)) }

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
	n, err := parseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return fmt.Errorf("parse rate %q: want a number of bytes per second such as 500K, 2M/s or off", text)
	}
	*r = rate(n)
	return nil
}

// parseSize reads a number of bytes. A lone letter counts in powers of 1024,
// as dd, head and truncate have it; MB is a million and MiB is 1024 × 1024.
func parseSize(s string) (int64, error) {
	t := strings.TrimSpace(s)
	if n := len(t); n > 1 && strings.ContainsRune("kKmMgGtTpPeE", rune(t[n-1])) {
		t += "iB"
	}
	n, err := humanize.ParseBytes(t)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("parse size %q: want a number of bytes such as 65536, 64K, 64M or 1.5GiB", s)
	}
	return int64(n), nil
}

// formatBytes writes a number of bytes for people, in powers of 1024.
func formatBytes(n int64) string {
	if n < 0 {
		return "-" + formatBytes(-n)
	}
	return humanize.IBytes(uint64(n))
}

// formatRate writes bytes per second for people.
func formatRate(perSecond float64) string {
	if perSecond < 1 {
		return "0 B/s"
	}
	return humanize.IBytes(uint64(perSecond)) + "/s"
}
