package peers

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// policyModel drives a policy as a session does: dials are under way, and end.
type policyModel struct {
	t      *testing.T
	policy dialPolicy
	now    time.Duration
	open   []modelDial
	failed []modelDial // with the time of their start
	dials  int
}

type modelDial struct {
	addr netip.Addr
	who  Introducer
	at   time.Duration
	cost float64
}

// try dials an address if it may, and reports whether it did.
func (m *policyModel) try(addr netip.Addr, by []Introducer) bool {
	wait, who := m.policy.wait(m.now, addr, by)
	if len(by) > 0 && !slices.Contains(by, who) {
		m.t.Fatalf("%v is charged, of %v", who, by)
	}
	if wait > 0 {
		if left, _ := m.policy.wait(m.now+wait, addr, by); left != 0 {
			m.t.Fatalf("%v waits %v, and then %v more", addr, wait, left)
		}
		return false
	}
	m.policy.charge(m.now, addr, who, 1)
	m.open = append(m.open, modelDial{addr, who, m.now, 1})
	m.dials++
	return true
}

func (m *policyModel) end(i int, o dialOutcome) {
	d := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	m.policy.settle(m.now, d.addr, d.who, d.cost, o)
	if o == dialFailed {
		m.failed = append(m.failed, d)
	}
}

// most checks that no window of time has more failed dials than a bound lets through.
func (m *policyModel) most(what string, b dialBound, is func(modelDial) bool) {
	m.t.Helper()
	var at []time.Duration
	for _, d := range m.failed {
		if is(d) {
			at = append(at, d.at)
		}
	}
	slices.Sort(at)
	for i := range at {
		for j := i; j < len(at); j++ {
			if n, limit := float64(j-i+1), b.burst+b.most+b.rate*(at[j]-at[i]).Seconds()+1; n > limit {
				m.t.Fatalf("%s: %v dials failed within %v, at most %v may", what, n, at[j]-at[i], limit)
			}
		}
	}
}

// Whatever happens, the failed dials of a host, of a network and of an introducer
// stay within their bounds, and what is remembered does, too.
func TestDialPolicyBoundsFailures(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &policyModel{t: t}
		hosts, introducers := 1+r.IntN(300), 1+r.IntN(20)
		good := r.Float64()
		for range 6000 {
			m.now += time.Duration(r.Int64N(int64(200 * time.Millisecond)))
			host := r.IntN(hosts)
			addr := netip.AddrFrom4([4]byte{10, 0, byte(host / 100), byte(host % 100)})
			var by []Introducer
			for range 1 + r.IntN(3) {
				by = append(by, Introducer{Kind: ByPeer, Name: fmt.Sprint(r.IntN(introducers))})
			}
			m.try(addr, by)
			for len(m.open) > r.IntN(32) {
				o := dialFailed
				if i := len(m.open) - 1; float64(m.open[i].addr.As4()[3]%10)/10 < good && m.open[i].addr.As4()[3]%2 == 0 {
					o = dialAnswered
				}
				m.end(len(m.open)-1, o)
			}
		}
		victims := map[netip.Addr]bool{}
		for _, d := range m.failed {
			victims[d.addr] = true
		}
		for v := range victims {
			m.most(v.String(), hostBound, func(d modelDial) bool { return d.addr == v })
		}
		for n := range byte(3) {
			m.most("network", networkBound, func(d modelDial) bool { return d.addr.As4()[2] == n })
		}
		for i := range introducers {
			m.most("introducer", peerBound, func(d modelDial) bool { return d.who.Name == fmt.Sprint(i) })
		}
	}
}

// Hosts that shake hands are dialled without a wait: hundreds of clients behind one
// address, a network full of them, all that one peer tells of.
func TestDialPolicyLetsWorkingHostsBe(t *testing.T) {
	m := &policyModel{t: t}
	by := []Introducer{{Kind: ByPeer, Name: "one"}}
	for i := range 2000 {
		addr := netip.MustParseAddr("192.0.2.1")
		if i%2 == 0 {
			addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(2 + i%200)})
		}
		if !m.try(addr, by) {
			t.Fatalf("dial %d waits", i)
		}
		if len(m.open) == int(hostBound.burst) { // as many at once as a torrent has under way
			for len(m.open) > 0 {
				m.end(0, dialAnswered)
			}
		}
	}
}

// A few ports that answer among many that do not are found.
func TestDialPolicyFindsTheOneThatAnswers(t *testing.T) {
	m := &policyModel{t: t}
	addr := netip.MustParseAddr("192.0.2.1")
	for port := range 40 {
		for !m.try(addr, nil) {
			wait, _ := m.policy.wait(m.now, addr, nil)
			m.now += wait
		}
		if port%4 == 0 {
			m.end(0, dialAnswered)
		} else {
			m.end(0, dialFailed)
		}
	}
	if m.now > 2*time.Minute {
		t.Errorf("all ports were tried after %v", m.now)
	}
}

// What never left this machine costs nothing, and neither does what the user names cost
// another introducer.
func TestDialPolicyChargesWhoIsToBlame(t *testing.T) {
	m := &policyModel{t: t}
	by := []Introducer{{Kind: ByPeer, Name: "one"}, {}}
	for i := range 500 {
		if !m.try(addrOf(256*i).Addr(), by) {
			t.Fatalf("dial %d waits though the user names it", i)
		}
		m.end(0, dialFailed)
	}
	if n := len(m.policy.introducers); n != 0 {
		t.Errorf("%d introducers are charged", n)
	}
	for range 500 {
		if !m.try(addrOf(1).Addr(), by) {
			t.Fatal("what was not sent is charged")
		}
		m.end(0, dialUnsent)
	}
}

// Victims beyond number do not make us forget the one that is dialled most.
func TestDialPolicyForgetsTheLeastCharged(t *testing.T) {
	m := &policyModel{t: t}
	victim := netip.MustParseAddr("192.0.2.1")
	for m.try(victim, nil) {
		m.end(0, dialFailed)
	}
	for i := range 3 * maxAccounts {
		m.try(addrOf(256*i).Addr(), []Introducer{{Kind: ByPeer, Name: fmt.Sprint(i)}})
		m.end(0, dialFailed)
	}
	if n := max(len(m.policy.hosts), len(m.policy.networks), len(m.policy.introducers)); n > maxAccounts {
		t.Errorf("%d accounts, at most %d are kept", n, maxAccounts)
	}
	if m.try(victim, nil) {
		t.Error("the victim is forgotten")
	}
}

func TestOutcomesAreCharged(t *testing.T) {
	for o, want := range map[Outcome]dialOutcome{
		Answered: dialAnswered, Failed: dialFailed, Refused: dialFailed, HungUp: dialFailed, Silent: dialFailed,
		Unsent: dialUnsent, Down: dialUnsent, Aborted: dialUnsent, Ourself: dialUnsent,
	} {
		if got := o.charge(); got != want {
			t.Errorf("outcome %d: %d, want %d", o, got, want)
		}
	}
}
