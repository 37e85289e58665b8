package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
	"torrentfs/metainfo"
)

// cacheFile is the path of something that is kept beside the torrents' data; ""
// if there is no cache directory.
func cacheFile(name string) string {
	base, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(base, "torrentfs", name)
}

// dataRoots are the folders of other torrents' data folders.
func dataRoots() []string {
	if base := cacheFile(""); base != "" {
		return []string{base}
	}
	return nil
}

// metadata is what the reference leads to. Of a magnet link it waits for peers,
// and shows meanwhile how far that has come.
func (a *app) metadata(ctx context.Context, s *session, ref library.Ref, o library.ResolveOptions, every time.Duration) (*metainfo.MetaInfo, error) {
	if ref.Meta != nil {
		return ref.Meta, nil
	}
	seeking := func() (library.Seeking, bool) { return s.lib.Seeking(ref.Magnet.Hash) }
	w := &metadataWait{app: a, offline: s.lib.Offline, seeking: seeking, label: fileName(ref), started: time.Now()}
	if ref.Magnet.Name != "" {
		w.label = ref.Magnet.Name
	}
	w.tell(library.MetadataProgress{})
	o.Progress = w.tell
	a.log.Info("waiting for metadata", "info_hash", ref.Magnet.Hash.String(), "trackers", len(ref.Magnet.Trackers), "peers", len(o.Peers))
	showing, hide := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); w.show(showing, every) }()
	mi, err := s.lib.Resolve(ctx, ref.Magnet, o)
	hide()
	<-shown
	switch {
	case errors.Is(err, errInterrupted):
		return nil, err
	case err != nil:
		return nil, fail(exitTorrent, "", "open magnet link: %w", err)
	}
	a.log.Info("metadata is here", "name", mi.Info.Name, "bytes", len(mi.Info.Bytes),
		"after", time.Since(w.started).Round(time.Millisecond).String())
	return mi, nil
}

// metadataWait shows what a magnet link waits for.
type metadataWait struct {
	app     *app
	offline func() bool
	seeking func() (library.Seeking, bool)
	label   string
	started time.Time
	now     atomic.Pointer[library.MetadataProgress]
}

// tell notes how far the search has come, and tells who started us.
func (w *metadataWait) tell(p library.MetadataProgress) {
	w.now.Store(&p)
	w.app.ready.waiting(w.line())
}

func (w *metadataWait) line() string {
	if w.offline() {
		return "looking for the metadata of " + ui.Printable(ui.Fit(w.label, 40)) + "  this computer has no network"
	}
	text := metadataText(w.label, *w.now.Load())
	if s, ok := w.seeking(); ok {
		text += "  " + strings.Join(seekingText(s), "  ")
	}
	return text
}

// show redraws the line until ctx ends, or logs from time to time where nobody watches.
func (w *metadataWait) show(ctx context.Context, every time.Duration) {
	if w.app.watched() {
		defer w.app.term.ShowLine(w.line)()
		<-ctx.Done()
		return
	}
	if every <= 0 {
		return
	}
	ui.Repeat(ctx, every, w.log)
}

// log says how far it has come, whom we ask, and what is wrong with those.
func (w *metadataWait) log() {
	p := w.now.Load()
	args := []any{
		"known", p.Known, "connected", p.Connected, "size", p.Size, "received", p.Received,
		"after", time.Since(w.started).Round(time.Second).String(),
	}
	if s, ok := w.seeking(); ok {
		args = append(args, "asking", strings.Join(seekingText(s), ", "))
		if trouble := trackerTrouble(s.Trackers); trouble != "" {
			args = append(args, "trouble", trouble)
		}
	}
	w.app.log.Info("waiting for metadata", args...)
}

// seekingText says whom a search asks for peers.
func seekingText(s library.Seeking) (parts []string) {
	if n := len(s.Trackers); n > 0 {
		working := 0
		for _, t := range s.Trackers {
			if t.Working {
				working++
			}
		}
		parts = append(parts, fmt.Sprintf("%s, %s", ui.Plural(n, "tracker"), answering(working, n)))
	}
	if s.DHT {
		parts = append(parts, "DHT with "+ui.Plural(s.DHTNodes, "node"))
	}
	if s.Local {
		parts = append(parts, "local network")
	}
	if len(parts) == 0 {
		parts = append(parts, "nobody is asked for peers")
	}
	return parts
}

func answering(working, all int) string {
	switch {
	case working == 0 && all == 1:
		return "which does not answer"
	case working == 0:
		return "none answers"
	case all == 1:
		return "which answers"
	}
	return fmt.Sprintf("%d answering", working)
}

// maxTroubles is how many trackers' errors one line of the log tells.
const maxTroubles = 3

func trackerTrouble(trackers []library.TrackerStatus) string {
	var all []string
	for _, t := range trackers {
		if t.Err != nil {
			all = append(all, t.Err.Error())
		}
	}
	if more := len(all) - maxTroubles; more > 0 {
		all = append(all[:maxTroubles], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}

// metadataText says what a link waits for.
func metadataText(label string, p library.MetadataProgress) string {
	parts := []string{"looking for the metadata of " + ui.Printable(ui.Fit(label, 40))}
	switch {
	case p.Known == 0:
		parts = append(parts, "no peer known yet")
	case p.Connected == 0:
		parts = append(parts, ui.Plural(p.Known, "peer")+" known, none answers yet")
	default:
		parts = append(parts, fmt.Sprintf("%s known, %d connected", ui.Plural(p.Known, "peer"), p.Connected))
	}
	if p.Size > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", ui.FormatBytes(p.Received), ui.FormatBytes(p.Size)))
	}
	return strings.Join(parts, "  ")
}
