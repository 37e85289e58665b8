package library

import (
	"torrentfs/metainfo"
	"torrentfs/swarm"
)

// search is a search for metadata, and what it brought until its torrent is added. The
// library's mu guards it.
type search struct {
	hash    metainfo.InfoHash // of the link; once that is known, of the torrent
	sources peerSources
	found   *swarm.Metadata // nil while it goes on
}

// beginSearch notes a search while it lasts.
func (l *Library) beginSearch(hash metainfo.InfoHash, sources peerSources) *search {
	s := &search{hash: hash, sources: sources}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.searches[s] = struct{}{}
	}
	return s
}

// forget ends what beginSearch began.
func (l *Library) forget(s *search) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.searches, s)
}

// keepSearch leaves what a search found to the torrent that will be added: its sources go
// on, and the connections to its peers.
func (l *Library) keepSearch(s *search, hash metainfo.InfoHash, found *swarm.Metadata) {
	l.mu.Lock()
	old := l.foundFor(hash)
	s.hash, s.found = hash, found
	if l.closed {
		old = s
	}
	if old != nil {
		delete(l.searches, old)
	}
	l.mu.Unlock()
	if old != nil {
		old.found.Close()
	}
}

// takeSearch returns what keepSearch left, nil if nothing.
func (l *Library) takeSearch(hash metainfo.InfoHash) *search {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.foundFor(hash)
	delete(l.searches, s)
	return s
}

// foundFor is the search that found the metadata of an info-hash, nil if there is none. mu is held.
func (l *Library) foundFor(hash metainfo.InfoHash) *search {
	for s := range l.searches {
		if s.found != nil && s.hash == hash {
			return s
		}
	}
	return nil
}

// Seeking is what a search for metadata asks, at a moment.
type Seeking struct {
	Trackers []TrackerStatus
	DHT      bool // the DHT is asked, too
	DHTNodes int  // nodes of it that answered lately
	Local    bool // and the local network (BEP 14)
}

// Seeking tells what the [Library.Resolve] of an info-hash asks now; false if there is none
// under way.
func (l *Library) Seeking(h metainfo.InfoHash) (Seeking, bool) {
	l.mu.Lock()
	var under *search
	for s := range l.searches {
		if s.found == nil && s.hash == h {
			under = s
		}
	}
	l.mu.Unlock()
	if under == nil {
		return Seeking{}, false
	}
	s := Seeking{Local: l.discover.local.port != 0}
	if t := under.sources.trackers; t != nil {
		s.Trackers = t.status()
	}
	if d := l.discover.dht; d != nil {
		st := d.Stats()
		s.DHT, s.DHTNodes = true, st.IPv4.Good+st.IPv6.Good
	}
	return s, true
}
