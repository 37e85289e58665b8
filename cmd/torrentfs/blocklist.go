package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"os"

	"torrentfs/swarm/blocklist"
	"torrentfs/swarm/egress"
)

// loadBlocklists reads the lists of --blocklist, files and URLs. Who asked for
// a list does not want to go on without it, so that an error ends the command.
func (a *app) loadBlocklists(ctx context.Context, way *egress.Way, names []string) (blocked func(netip.Addr) bool, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var lists []*blocklist.List
	for _, name := range names {
		l, err := a.loadBlocklist(ctx, way, name)
		switch {
		case errors.Is(context.Cause(ctx), errInterrupted):
			return nil, errInterrupted
		case err != nil:
			return nil, err
		}
		lists = append(lists, l)
	}
	all := blocklist.Merge(lists...)
	a.log.Info("blocklist read", "ranges", all.Ranges())
	return all.Contains, nil
}

func (a *app) loadBlocklist(ctx context.Context, way *egress.Way, name string) (list *blocklist.List, err error) {
	parse := func(r io.Reader) error {
		var report blocklist.Report
		if list, report, err = blocklist.Parse(r, blocklist.Limits{}); err != nil {
			return fail(exitGeneral, "check --blocklist", "read blocklist %s: %w", name, err)
		}
		if report.Skipped > 0 {
			a.log.Warn("lines of the blocklist are not understood", "blocklist", name, "lines", report.Skipped, "first", report.First)
		}
		return nil
	}
	if isURL(name) {
		u, err := url.Parse(name)
		if err != nil || u.Hostname() == "" {
			return nil, fail(exitUsage, "check --blocklist", "read blocklist: %q is no URL", name)
		}
		err = get(ctx, way, u, parse)
		return list, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fail(exitGeneral, "check --blocklist", "read blocklist: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	err = parse(f)
	return list, err
}
