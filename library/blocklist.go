package library

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"

	"torrentfs/net/blocklist"
	"torrentfs/net/guard"
)

// ReadBlocklists reads lists of addresses, files and URLs, for [Config.Blocked]. They may be
// PeerGuardian text, eMule's ipfilter, plain ranges, networks or addresses, and compressed with
// gzip. Any error is final: who asks for a list does not want to go on without it. No names give
// nil.
func (n *Network) ReadBlocklists(ctx context.Context, names []string) (blocked func(netip.Addr) bool, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	var lists []*blocklist.List
	for _, name := range names {
		l, err := n.readBlocklist(ctx, name)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
		lists = append(lists, l)
	}
	all := blocklist.Merge(lists...)
	n.logger().Info("blocklist read", "ranges", all.Ranges())
	return all.Contains, nil
}

func (n *Network) readBlocklist(ctx context.Context, name string) (list *blocklist.List, err error) {
	shown := name
	if isURL(name) {
		shown = guard.Redact(name)
	}
	parse := func(r io.Reader) error {
		var report blocklist.Report
		if list, report, err = blocklist.Parse(r, blocklist.Limits{}); err != nil {
			return &readError{fmt.Errorf("read blocklist %s: %w", shown, bareError(err))}
		}
		if report.Skipped > 0 {
			n.logger().Warn("lines of the blocklist are not understood", "blocklist", shown, "lines", report.Skipped, "first", report.First)
		}
		return nil
	}
	if isURL(name) {
		u, err := url.Parse(name)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("read blocklist: %s %w", shownURL(name), ErrURL)
		}
		err = n.fetch(ctx, u, fetchTimeout, func(got answer) error { return parse(got.body) })
		return list, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read blocklist: %w", err)
	}
	defer file.Close()
	err = parse(file)
	return list, err
}
