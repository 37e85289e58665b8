package swarm

import (
	"math"
	"testing"
)

func TestMeter(t *testing.T) {
	var m meter
	m.add(1000)
	m.measure(1)
	if m.rate != 1000 {
		t.Errorf("after one second of 1000 bytes: %v", m.rate)
	}
	for range 60 {
		m.add(4000)
		m.measure(2)
	}
	if math.Abs(m.rate-2000) > 1 {
		t.Errorf("a steady 2000 bytes/s is measured as %v", m.rate)
	}
	m.measure(meterTime)
	if math.Abs(m.rate-2000/math.E) > 5 {
		t.Errorf("one time constant of silence later: %v, want 2000/e", m.rate)
	}
	for range 30 {
		m.measure(meterTime)
	}
	if m.rate != 0 {
		t.Errorf("after long silence: %v", m.rate)
	}
	m.add(5)
	m.measure(0) // no time has passed
	if m.rate != 0 || m.bytes != 5 {
		t.Errorf("an interval of no length changed something: %+v", m)
	}
}
