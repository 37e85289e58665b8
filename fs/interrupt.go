package fs

// readerState is what can be seen of the thread that a READ was sent for.
type readerState int

const (
	readerGoesOn  readerState = iota // no signal that ends its read waits for it
	readerEnds                       // a signal does
	readerGone                       // the thread has ended
	readerUnknown                    // it cannot be seen: it lives in a foreign pid namespace
)
