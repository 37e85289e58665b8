package monitor

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each change is told once, by what came and went; a look that fails is none.
func TestWatch(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	list := func(l ...netip.Addr) []netip.Addr { return l }
	synctest.Test(t, func(t *testing.T) {
		looks := []struct {
			have []netip.Addr
			err  error
			want *Change
		}{
			{want: &Change{}}, // no network at the start
			{},
			{have: list(a), want: &Change{Have: list(a), Gained: list(a)}},
			{have: list(a)},
			{err: errors.New("no")},
			{have: list(a, b), want: &Change{Have: list(a, b), Gained: list(b)}},
			{have: list(b), want: &Change{Have: list(b), Lost: list(a)}},
			{want: &Change{Lost: list(b)}},
			{have: list(a), want: &Change{Have: list(a), Gained: list(a)}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		i := -1
		var told *Change
		check := func() {
			if want := looks[i].want; (want == nil) != (told == nil) || want != nil &&
				(!slices.Equal(want.Have, told.Have) || !slices.Equal(want.Gained, told.Gained) || !slices.Equal(want.Lost, told.Lost)) {
				t.Errorf("look %d: told %+v, want %+v", i, told, want)
			}
			told = nil
		}
		began := time.Now()
		Watch(ctx, func() ([]netip.Addr, error) {
			if i >= 0 {
				check()
			}
			if i++; i == len(looks)-1 {
				cancel()
			}
			return looks[i].have, looks[i].err
		}, func(c Change) { told = &c })
		check()
		if took := time.Since(began); took > time.Duration(len(looks))*Interval {
			t.Errorf("took %v", took)
		}
	})
}

// What the system lists can be sent from, by others' leave.
func TestSystem(t *testing.T) {
	addrs, err := System()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(addrs, netip.Addr.Compare) {
		t.Errorf("not sorted: %v", addrs)
	}
	for _, a := range addrs {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4In6() || !a.IsValid() {
			t.Errorf("lists %v", a)
		}
	}
}
