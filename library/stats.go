package library

import "time"

// Stats is a snapshot of one torrent, cheap enough to take every second.
type Stats struct {
	Name     string
	Total    int64 // bytes of real files: no pads, no links
	Verified int64 // bytes held and verified, of Total
	Checking int64 // bytes on disk that wait to be hashed, of Total
	Complete bool

	Peers    int // connected
	Seeds    int // connected peers that have every piece
	Unchoked int // peers that let us download

	DownRate, UpRate float64 // payload, bytes per second over the last seconds
	Downloaded       int64   // payload bytes received since start, waste included
	Uploaded         int64   // payload bytes sent since start
	Wasted           int64   // payload bytes received that were already here, not asked for or wrong

	Taken int64 // bytes that were copied from other torrents' files since start

	Blocked  []BlockedRead // reads that wait for the swarm now
	WaitsFor string        // in words, what the oldest of them waits for
	Trackers []TrackerStatus
	// TrackerTrouble is in words what trackers refuse or warn of, or why none answers; ""
	// while there is nothing. It has no passkeys.
	TrackerTrouble string
	DiskErr        error // the disk's last complaint, nil while it works
	NetworkErr     error // why nothing can go out: a proxy or interface that is not there; nil while it can
	Err            error // why the torrent was stopped, nil while it was not: its two halves contradict each other
}

// BlockedRead is a read that waits for pieces.
type BlockedRead struct {
	Path   string
	Offset int64 // in the file
	Length int
	Since  time.Time
}

// TrackerStatus is what one tracker last said.
type TrackerStatus struct {
	URL               string
	Tier              int
	Seeders, Leechers int // as the tracker counts them; -1 if it did not say
	Peers             int // addresses in its last answer
	NextAnnounce      time.Time
	Working           bool   // the last announce was answered
	Err               error  // of the last announce, nil if it worked
	Warning           string // of the last answer; "" if there was none
}

// Stats takes a snapshot of the torrent.
func (t *Torrent) Stats() Stats {
	s := t.swarm.Stats()
	out := Stats{
		Name: t.info.Name, Total: t.info.TotalLength(),
		Complete: s.Held == s.Pieces,
		Peers:    s.Peers, Seeds: s.Seeds, Unchoked: s.Unchoked,
		DownRate: s.DownRate, UpRate: s.UpRate,
		Downloaded: s.Downloaded, Uploaded: s.Uploaded, Wasted: s.Wasted, Taken: s.Taken,
		DiskErr: t.store.Err(), NetworkErr: t.l.cfg.Network.out().Err(), Err: t.swarm.Err(),
	}
	out.Verified = share(t.info, s.Held)
	out.Checking = share(t.info, s.Doubtful)
	for _, b := range s.Blocked {
		f := b.Label.(*file)
		out.Blocked = append(out.Blocked, BlockedRead{
			Path: f.meta.Path, Offset: b.Offset - f.meta.Offset, Length: b.Length, Since: b.Since,
		})
	}
	if len(out.Blocked) > 0 {
		out.WaitsFor = t.reason(s.Blocked[0].Reach)
	}
	if tr := t.sources.trackers; tr != nil {
		out.Trackers = tr.status()
		out.TrackerTrouble = trackerTrouble(out.Trackers)
	}
	return out
}
