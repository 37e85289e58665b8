//go:build !linux

package library

import "time"

func birth(string) (time.Time, bool) { return time.Time{}, false }
