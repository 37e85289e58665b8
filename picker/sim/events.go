package sim

import "time"

// event is something that happens at a moment; events of one moment happen in the order in which they were scheduled.
type event struct {
	at  time.Duration
	seq uint64
	run func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// queue is a binary heap of events.
type queue struct {
	heap []event
	seq  uint64
}

func (q *queue) push(at time.Duration, run func()) {
	q.seq++
	e := event{at, q.seq, run}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if q.heap[up].before(&e) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

func (q *queue) pop() event {
	top := q.heap[0]
	n := len(q.heap) - 1
	e := q.heap[n]
	q.heap[n].run = nil
	q.heap = q.heap[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && q.heap[c+1].before(&q.heap[c]) {
			c++
		}
		if e.before(&q.heap[c]) {
			break
		}
		q.heap[i] = q.heap[c]
		i = c
	}
	q.heap[i] = e
	return top
}
