package conn

// queue is first in, first out. Its memory follows what is in it, also if it is never
// empty. The zero value is an empty queue.
type queue[T any] struct {
	items []T // the first is at head
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) push(v T) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		q.shift()
	}
	q.items = append(q.items, v)
}

// all is what is in the queue, the first one first. It is valid until the next change.
func (q *queue[T]) all() []T { return q.items[q.head:] }

// pop takes the first one out. The queue must not be empty.
func (q *queue[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	q.compact()
	return v
}

// remove takes out the i-th of all.
func (q *queue[T]) remove(i int) {
	var zero T
	last := len(q.items) - 1
	copy(q.items[q.head+i:], q.items[q.head+i+1:])
	q.items[last] = zero
	q.items = q.items[:last]
	q.compact()
}

// compact gives up room once most of it is unused: the cost of each item is constant.
func (q *queue[T]) compact() {
	const small = 64
	switch n := q.len(); {
	case n == 0 && cap(q.items) <= small:
		q.items, q.head = q.items[:0], 0
	case n == 0:
		*q = queue[T]{}
	case cap(q.items) > small && n < cap(q.items)/4:
		q.items, q.head = append(make([]T, 0, 2*n), q.items[q.head:]...), 0
	case q.head > small && q.head >= n:
		q.shift()
	}
}

// shift moves what is in the queue to the front of its memory.
func (q *queue[T]) shift() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
