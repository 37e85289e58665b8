package cache

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

var (
	// ErrLocked is returned (wrapped) by Open when another process, or
	// another store of this one, has the torrent's files.
	ErrLocked = errors.New("data folder is in use")
	// ErrMissing is returned at the first byte that is not verified.
	ErrMissing = errors.New("piece is missing")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("store is closed")
)

// Defaults of Config and Options.
const (
	DefaultMemory           = 64 << 20
	DefaultOpenFiles        = 256
	DefaultUnverifiedMemory = 32 << 20
	minMemory               = 2 << 20
)

// Config are the limits of a process. The zero Config means the defaults.
type Config struct {
	// Memory is what the memory tier may take for verified blocks, in bytes,
	// with its overhead; at least 2 MiB.
	Memory int64
	// OpenFiles is how many payload files are kept open.
	OpenFiles int
}

// Cache is the memory tier and the open files that all stores of a process
// share. Its methods may be called from any goroutine.
type Cache struct {
	mem   *memory
	files *fileTable
	last  atomic.Uint64 // ordinal given to the last store

	mu     sync.Mutex
	closed bool
	stores map[*Store]struct{}
}

// New makes an empty cache. Close it.
func New(cfg Config) (*Cache, error) {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.OpenFiles <= 0 {
		cfg.OpenFiles = DefaultOpenFiles
	}
	mem, err := newMemory(max(cfg.Memory, minMemory))
	if err != nil {
		return nil, err
	}
	return &Cache{mem: mem, files: newFileTable(cfg.OpenFiles), stores: make(map[*Store]struct{})}, nil
}

// Close closes all stores that are still open, and the cache.
func (c *Cache) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	var open []*Store
	for s := range c.stores {
		open = append(open, s)
	}
	c.mu.Unlock()
	var errs []error
	for _, s := range open {
		errs = append(errs, s.Close())
	}
	c.mem.close()
	return errors.Join(errs...)
}

func (c *Cache) adopt(s *Store) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("open store: %w", ErrClosed)
	}
	c.stores[s] = struct{}{}
	return nil
}

func (c *Cache) abandon(s *Store) {
	c.mu.Lock()
	delete(c.stores, s)
	c.mu.Unlock()
}
