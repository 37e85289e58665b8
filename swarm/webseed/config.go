package webseed

import (
	"errors"
	"log/slog"
	"time"

	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

var (
	// ErrURL: the URL cannot be that of a web seed.
	ErrURL = errors.New("not a usable web seed URL")
	// ErrNoRanges: the server sends whole files if parts are asked for.
	ErrNoRanges = errors.New("server ignores ranges")
	// ErrMissing: the server has none of the files.
	ErrMissing = errors.New("server does not have the files")
	// ErrResponse: the answer is not one to the request.
	ErrResponse = errors.New("unusable answer")
)

// Handler gets the results of requests. Its methods are called by the goroutines of Run, never
// within Request or Cancel; calls may overlap. While one blocks, its connection is not read. None
// is made after Run has returned.
type Handler interface {
	// Block takes a block that was requested, and the ownership of data.
	Block(piece metainfo.Piece, begin int, data []byte)
	// Reject reports that a request is not answered: it was cancelled, or the server could not.
	Reject(piece, begin, length int)
	// Choke reports that the server is to be left alone for a while (requests are rejected), or
	// that it may be asked again. A seed begins unchoked.
	Choke(choked bool)
	// Lost reports that the server does not have the pieces first to last.
	Lost(first, last int)
}

// Config configures a Seed. URL, Info and Handler are required; zero values of
// all else stand for the defaults given here.
type Config struct {
	URL     string // as the torrent spells it
	Pieces  bool   // the URL is that of a BEP 17 script, not of files
	Info    *metainfo.Info
	Handler Handler

	// Dialer connects to hosts that torrents name; nil is the zero Dialer.
	Dialer *guard.Dialer
	Logger *slog.Logger // nil logs nothing

	conns int // at once, for tests; 0 means 4
}

const (
	headerTimeout = 20 * time.Second // until an answer begins
	stallTimeout  = 20 * time.Second // without a byte of an answer

	maxRedirects = 5
	maxQueue     = 4096    // requests; more are rejected
	maxRun       = 4 << 20 // bytes of one range
	minRun       = 256 << 10
	maxMoved     = 1024 // redirects remembered
	maxErrorBody = 1024 // bytes read of an answer that is an error

	firstBackoff   = 5 * time.Second // after a failure; doubles with each
	longestBackoff = 10 * time.Minute
	longestRetry   = time.Hour // honoured of a server's "retry after"
)

func (c Config) withDefaults() Config {
	if c.conns <= 0 {
		c.conns = 4
	}
	if c.Dialer == nil {
		c.Dialer = &guard.Dialer{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
