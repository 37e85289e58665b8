package library

import "torrentfs/metainfo"

// Seeking is whom a search for metadata asks, at a moment.
type Seeking struct {
	Trackers []TrackerStatus
	DHT      bool // the DHT is asked, too
	DHTNodes int  // nodes of it that answered lately
	Local    bool // and the local network (BEP 14)
}

// Seeking says whom the [Library.Resolve] of an info-hash asks now; false where
// there is none under way.
func (l *Library) Seeking(h metainfo.InfoHash) (Seeking, bool) {
	l.mu.Lock()
	var r *relay
	for o, hash := range l.seeking {
		if hash == h {
			r = o
		}
	}
	l.mu.Unlock()
	if r == nil {
		return Seeking{}, false
	}
	s := Seeking{Local: l.discover.local.port != 0}
	if r.trackers != nil {
		s.Trackers = r.trackers.status()
	}
	if d := l.discover.dht; d != nil {
		st := d.Stats()
		s.DHT, s.DHTNodes = true, st.IPv4.Good+st.IPv6.Good
	}
	return s, true
}

// seek notes the sources of a search for metadata while it lasts.
func (l *Library) seek(h metainfo.InfoHash, r *relay) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seeking[r] = h
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.seeking, r)
	}
}
