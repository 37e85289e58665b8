package picker

// Stats counts what the picker has under way.
type Stats struct {
	InFlight int   // requests not answered, cancelled ones included
	Started  int   // pieces of which something is received or requested
	Hedged   int64 // requests for blocks that another peer owed already, since New
}

// Stats tells how much is under way.
func (p *Picker) Stats() Stats { return Stats{p.peers.inflight, p.pieces.started, p.hedges.sent} }
