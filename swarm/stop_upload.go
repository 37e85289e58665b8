package swarm

import "torrentfs/swarm/choke"

// StopUploading makes a torrent serve nobody from now on, as if it had been
// added with NoUpload: what peers have asked for is refused, and those that
// come are told of nothing. It stays, and fetches what it lacks.
func (s *Session) StopUploading(t *Torrent) error {
	return t.call(func() {
		t.cfg.NoUpload = true
		t.uploads.choker = choke.New(0, t.rand)
		for _, c := range t.peers {
			if c != nil && !c.choking {
				t.uploads.choke(c)
			}
		}
	})
}
