package pieces

import "fmt"

// CheckInvariants reports the first contradiction in the ledger's state, for tests: it walks over all of it.
func (l *Ledger) CheckInvariants() error {
	if n := l.held.Count(); n != l.nHeld {
		return fmt.Errorf("%d pieces are held, %d counted", n, l.nHeld)
	}
	if err := l.rechecks.check(); err != nil {
		return err
	}
	for p := range l.unjudged {
		if l.Has(p) {
			return fmt.Errorf("piece %d is held, and waits for its hash", p)
		}
	}
	if len(l.suspicious) > 0 && !l.cfg.Leaves {
		return fmt.Errorf("%d pieces are to be proven by leaves that the torrent does not have", len(l.suspicious))
	}
	if u := &l.unchecked; u.trying && !l.InDoubt(u.trial) {
		return fmt.Errorf("piece %d is tried again, and no checker will have it", u.trial)
	}
	for _, d := range l.duplicates.list {
		out := 0
		for p := d.First; p < d.end(); p++ {
			if !l.duplicates.claimed.Has(p) {
				continue
			}
			out++
			if !l.InDoubt(p) || !l.duplicates.tried.Has(p) {
				return fmt.Errorf("piece %d is to come from %s: in doubt %v, tried %v", p, d.Path, l.InDoubt(p), l.duplicates.tried.Has(p))
			}
		}
		if out != d.out {
			return fmt.Errorf("%d pieces are to come from %s, %d counted", out, d.Path, d.out)
		}
	}
	return l.evidence.CheckInvariants()
}

// check reports the first contradiction in what is to be checked.
func (r *rechecks) check() error {
	if n := r.pieces.Count(); n != r.n {
		return fmt.Errorf("%d pieces are in doubt, %d counted", n, r.n)
	}
	for p := r.taken.Next(0); p >= 0; p = r.taken.Next(p + 1) {
		if !r.has(p) {
			return fmt.Errorf("piece %d is at a checker, and not in doubt", p)
		}
	}
	if _, ok := r.next(); ok != (r.taken.Count() < r.n) {
		return fmt.Errorf("%d of %d pieces in doubt are at a checker; there is a next one: %v", r.taken.Count(), r.n, ok)
	}
	for p := r.pieces.Next(0); p >= 0 && p < r.cursor; p = r.pieces.Next(p + 1) {
		if !r.taken.Has(p) {
			return fmt.Errorf("piece %d is in doubt, and behind the cursor %d", p, r.cursor)
		}
	}
	return nil
}
