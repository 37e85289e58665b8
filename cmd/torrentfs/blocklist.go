package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"os"

	"torrentfs/net/blocklist"
	"torrentfs/net/guard"
)

// loadBlocklists reads the lists of --blocklist, files and URLs. Who asked for
// a list does not want to go on without it, so that an error ends the command.
func (a *app) loadBlocklists(ctx context.Context, f fetcher, names []string) (blocked func(netip.Addr) bool, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	var lists []*blocklist.List
	for _, name := range names {
		l, err := a.loadBlocklist(ctx, f, name)
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

func (a *app) loadBlocklist(ctx context.Context, f fetcher, name string) (list *blocklist.List, err error) {
	shown := name
	if isURL(name) {
		shown = guard.Redact(name)
	}
	parse := func(r io.Reader) error {
		var report blocklist.Report
		if list, report, err = blocklist.Parse(r, blocklist.Limits{}); err != nil {
			return fail(exitGeneral, cmp.Or(fileHint(err, "a file with --blocklist"), "check --blocklist"), "read blocklist %s: %w", shown, bareError(err))
		}
		if report.Skipped > 0 {
			a.log.Warn("lines of the blocklist are not understood", "blocklist", shown, "lines", report.Skipped, "first", report.First)
		}
		return nil
	}
	if isURL(name) {
		u, err := url.Parse(name)
		if err != nil || u.Hostname() == "" {
			return nil, fail(exitUsage, "check --blocklist", "read blocklist: %s is no URL", shownURL(name))
		}
		err = f.get(ctx, u, func(got answer) error { return parse(got.body) })
		return list, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fail(exitGeneral, cmp.Or(fileHint(err, "a file"), "check --blocklist"), "read blocklist: %w", err)
	}
	defer file.Close() //nolint:errcheck // nothing was written
	err = parse(file)
	return list, err
}
