package swarm

import (
	"testing"
	"time"

	"torrentfs/internal/fakepeer"
	"torrentfs/internal/simnet"
)

// A torrent that was told to stop uploading refuses what was asked for, keeps its peers, and serves none that comes later.
func TestStopUploading(t *testing.T) {
	inWorld(t, 16<<20, 256<<10, Config{MaxUpload: 1 << 20}, func(w *world) {
		w.store = fullStore(w.info, w.data)
		tor := w.add(TorrentConfig{})
		leechers := []*fakepeer.Peer{
			w.connect(simnet.Link{Delay: 10 * ms}, w.leecher("one")), w.connect(simnet.Link{Delay: 10 * ms}, w.leecher("two")),
		}
		time.Sleep(5 * time.Second)
		if st := tor.Stats(); st.Uploaded == 0 || st.Unchoking == 0 {
			t.Fatalf("uploaded %d to %d peers", st.Uploaded, st.Unchoking)
		}
		if err := tor.s.StopUploading(tor); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // what was on its way
		before := tor.Stats().Uploaded
		late := w.connect(simnet.Link{Delay: 10 * ms}, w.leecher("late"))
		time.Sleep(2 * time.Minute) // less than silence is borne
		if st := tor.Stats(); st.Uploaded != before || st.Unchoking != 0 || st.Peers != 3 {
			t.Errorf("uploaded %d more; %d peers, %d of them unchoked", st.Uploaded-before, st.Peers, st.Unchoking)
		}
		for i, p := range append(leechers, late) {
			if p.Record().Unchoked {
				t.Errorf("leecher %d is unchoked", i)
			}
		}
		if late.Record().Downloaded != 0 {
			t.Errorf("the late one got %d bytes", late.Record().Downloaded)
		}
	})
}
