package picker

import "time"

// PeerStats is what the picker thinks of a peer, for logs and dashboards.
type PeerStats struct {
	Rate        float64       // bytes/s while it has something to send
	RTT         time.Duration // smallest seen
	Outstanding int           // requests not answered, cancelled ones aside
	Suspect     bool          // silent: asked for nothing but a probe now and then
}

// Peer tells about a peer.
func (p *Picker) Peer(id PeerID) (PeerStats, bool) {
	pr := p.peers.table.get(id)
	if pr == nil {
		return PeerStats{}, false
	}
	return PeerStats{pr.rate, time.Duration(pr.rtt * 1e9), pr.outstanding(), pr.suspect}, true
}

// Stats counts what the picker has under way.
type Stats struct {
	InFlight int   // requests not answered, cancelled ones included
	Started  int   // pieces of which something is received or requested
	Hedged   int64 // requests for blocks that another peer owed already, since New
}

// Stats tells how much is under way.
func (p *Picker) Stats() Stats { return Stats{p.peers.inflight, p.pieces.started, p.hedges.sent} }
