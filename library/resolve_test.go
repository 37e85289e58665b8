package library

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"torrentfs/metainfo"
	"torrentfs/metainfo/bencode"
	"torrentfs/swarm"
	"torrentfs/tracker"
)

// eventLog is a tracker that notes the events of announces, by peer id.
type eventLog struct {
	mu     sync.Mutex
	events map[string][]string
}

func (e *eventLog) serve(t *testing.T) (announce string) {
	t.Helper()
	e.events = map[string][]string{}
	srv := tracker.New(tracker.Config{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		id := r.URL.Query().Get("peer_id")
		e.events[id] = append(e.events[id], r.URL.Query().Get("event"))
		e.mu.Unlock()
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	return web.URL + "/announce"
}

func (e *eventLog) of(id [20]byte) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events[string(id[:])])
}

func (l *Library) withMetadata(dir string) *Library { l.cfg.MetadataDir = dir; return l }

// A magnet link becomes a torrent that downloads. Its tracker hears of one
// start and one stop, and the link works without any peer the next time.
func TestResolveDownloadAndKeep(t *testing.T) {
	var events eventLog
	announce := events.serve(t)
	mi, files := testTorrent(t, announce)
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	awaitComplete(t, addTorrent(t, openLibrary(t, seedDir), mi, AddOptions{}))

	kept := t.TempDir()
	l := openLibrary(t, t.TempDir()).withMetadata(kept)
	link := &metainfo.Magnet{Hash: mi.Info.Hash, Trackers: []string{announce}, WebSeeds: []string{"http://w.invalid/"}}
	var last swarm.MetadataProgress
	got, err := l.Resolve(deadline(t), link, ResolveOptions{Progress: func(p swarm.MetadataProgress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Info.Bytes, mi.Info.Bytes) || !slices.Equal(got.WebSeeds, link.WebSeeds) {
		t.Errorf("resolved to %+v", got)
	}
	if last.Known == 0 || last.Size != int64(len(mi.Info.Bytes)) {
		t.Errorf("last progress %+v", last)
	}
	awaitComplete(t, addTorrent(t, l, got, AddOptions{noWebSeeds: true}))
	id := l.session.PeerID()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := events.of(id); len(got) < 2 || got[0] != "started" || got[len(got)-1] != "stopped" ||
		slices.Contains(got[1:len(got)-1], "started") || slices.Contains(got[1:len(got)-1], "stopped") {
		t.Errorf("the tracker heard %q, want one start and one stop", got)
	}

	again := openLibrary(t, t.TempDir()).withMetadata(kept)
	link.Trackers = []string{"udp://other.invalid:1"}
	offline, err := again.Resolve(deadline(t), link, ResolveOptions{NoTrackers: true})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"udp://other.invalid:1", announce}}
	if !bytes.Equal(offline.Info.Bytes, mi.Info.Bytes) || !slices.EqualFunc(offline.Trackers, want, slices.Equal) {
		t.Errorf("kept: %+v", offline)
	}
}

// What was kept is only used where it is right.
func TestKeptMetadataIsChecked(t *testing.T) {
	mi, _ := testTorrent(t, "")
	dir := t.TempDir()
	l := openLibrary(t, t.TempDir()).withMetadata(dir)
	link := &metainfo.Magnet{Hash: mi.Info.Hash}
	other := *mi
	info, err := metainfo.ParseInfo(bytes.Replace(mi.Info.Bytes, []byte("3:set"), []byte("3:tes"), 1), metainfo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	other.Info = info
	wrong, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"of another torrent": wrong, "cut": wrong[:100], "empty": {}} {
		if err := os.WriteFile(filepath.Join(dir, mi.Info.Hash.String()+".torrent"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := l.keptMetadata(link); got != nil {
			t.Errorf("%s: was taken for the torrent", name)
		}
	}
	if err := l.keepMetadata(mi.Info.Hash, mi); err != nil {
		t.Fatal(err)
	}
	if got := l.keptMetadata(link); got == nil || got.Info.Hash != mi.Info.Hash {
		t.Error("what was kept is not found")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

// A search that nobody answers ends with its context, and leaves nothing.
func TestResolveEnds(t *testing.T) {
	mi, _ := testTorrent(t, "")
	l := openLibrary(t, t.TempDir())
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(deadline(t))
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) }) // at any moment
	if _, err := l.Resolve(ctx, &metainfo.Magnet{Hash: mi.Info.Hash}, ResolveOptions{}); err != cause {
		t.Errorf("ended with %v, want %v", err, cause)
	}
}

// Of a selection (BEP 53) the selected files alone are fetched; others when they are read.
func TestSelectedFilesAlone(t *testing.T) {
	mi, files := testTorrent(t, "")
	seedDir := t.TempDir()
	writeFiles(t, seedDir, files)
	seeder := openLibrary(t, seedDir)
	awaitComplete(t, addTorrent(t, seeder, mi, AddOptions{}))
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(seeder.Port()))
	l := openLibrary(t, t.TempDir())
	tor := addTorrent(t, l, mi, AddOptions{
		Peers: []netip.AddrPort{addr}, Select: []metainfo.IndexRange{{First: 4, Last: 90}},
	})
	select {
	case <-tor.Selected():
	case <-deadline(t).Done():
		t.Fatalf("not fetched: %+v", tor.Stats())
	}
	if s := tor.Stats(); s.Complete || s.Verified < 70_000 || s.Verified > 70_000+3*64<<10 {
		t.Errorf("verified %d of %d, want the last file alone", s.Verified, s.Total)
	}
	h, err := tor.Source().Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	got := make([]byte, len(files[0].data))
	if n, err := h.ReadAt(deadline(t), got, 0); n != len(got) || (err != nil && n != len(got)) || !bytes.Equal(got, files[0].data) {
		t.Errorf("a file that is not selected: %d bytes, %v", n, err)
	}
}

// The metadata of a private torrent ends every source but its trackers (BEP 27).
func TestPrivateTorrentsKeepTrackersAlone(t *testing.T) {
	var events eventLog
	mi, _ := testTorrent(t, events.serve(t))
	private, err := metainfo.ParseInfo(privately(t, mi), metainfo.Limits{})
	if err != nil || !private.Private {
		t.Fatalf("not private: %v", err)
	}
	l := openLibrary(t, t.TempDir())
	other := &silentSource{}
	s := l.beginSearch(private.Hash, peerSources{others: []swarm.PeerSource{other}})
	left := &swarm.Metadata{Info: private.Bytes}
	l.keepSearch(s, private.Hash, left)
	tor := &Torrent{l: l, info: private}
	found := tor.openSources(&metainfo.MetaInfo{Info: private, Trackers: mi.Trackers}, AddOptions{})
	if found != left {
		t.Error("the session is not told of the search")
	}
	if len(tor.sources.others) != 0 || tor.sources.trackers == nil || !tor.sources.trackers.cfg.Private {
		t.Errorf("sources %+v, want its own trackers alone", tor.sources)
	}
}

func privately(t *testing.T, mi *metainfo.MetaInfo) []byte {
	t.Helper()
	d, _, err := bencode.DecodeDict(mi.Info.Bytes, bencode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	d["private"] = int64(1)
	b, err := bencode.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// silentSource is a source that finds nothing.
type silentSource struct{}

func (*silentSource) Run(ctx context.Context, _ swarm.PeerSink) error { <-ctx.Done(); return nil }

func (*silentSource) NeedPeers() {}

// oneSink takes what is found.
type oneSink chan []netip.AddrPort

func (c oneSink) Found(_ swarm.Introducer, peers []netip.AddrPort) { c <- peers }

func (oneSink) SeenAt(string, netip.Addr) {}

func (oneSink) Settled() <-chan struct{} { return nil }

func (c oneSink) Totals() (received, sent, left int64) { return 0, 0, 1 }
