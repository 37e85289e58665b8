package picker

import "time"

// Whole tells that the leaves of a piece cannot be proven: its reads wait for all of it.
func (p *Picker) Whole(now time.Duration, piece int) {}

// Adopt tells of a block that is verified already.
func (p *Picker) Adopt(now time.Duration, block BlockID) {}
