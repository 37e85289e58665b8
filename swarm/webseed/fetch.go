package webseed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"torrentfs/internal/version"
	"torrentfs/metainfo"
	"torrentfs/net/guard"
)

// fetch gets the bytes of a run: of each file that it touches one range.
func (s *Seed) fetch(ctx context.Context, f *run) error {
	a := &assembler{seed: s, run: f}
	length := int64(0)
	for _, r := range f.blocks {
		length += int64(r.length)
	}
	if s.cfg.Pieces {
		first := f.blocks[0]
		return s.get(ctx, a, part{url: s.loc.part(first.piece, int64(first.begin), length), length: length})
	}
	for span := range s.cfg.Info.Spans(f.off, length) {
		if s.cfg.Info.Files[span.File].Pad {
			if err := a.zeros(span.Length); err != nil {
				return err
			}
			continue
		}
		if err := s.getSpan(ctx, a, span); err != nil {
			return err
		}
	}
	return nil
}

// getSpan gets a part of one file: from where it was found the last time, and
// if it is not there any more, from where the torrent says.
func (s *Seed) getSpan(ctx context.Context, a *assembler, span metainfo.FileSpan) error {
	s.mu.Lock()
	missing, moved := s.missing[span.File], s.moved[span.File]
	s.mu.Unlock()
	if missing {
		return errLost
	}
	p := part{url: moved, file: span.File, ranged: true, off: span.Offset, length: span.Length, size: s.cfg.Info.Files[span.File].Length}
	if moved != nil {
		began := a.total
		err := s.get(ctx, a, p)
		if err == nil || a.total != began || ctx.Err() != nil {
			return err
		}
		s.mu.Lock()
		delete(s.moved, span.File)
		s.mu.Unlock()
	}
	var ok bool
	if p.url, ok = s.loc.file(span.File); !ok {
		return s.lose(span.File, fmt.Errorf("name cannot be part of a URL: %w", ErrMissing))
	}
	if s.loc.local && !guard.IsFile(p.url) {
		return s.lose(span.File, errCommand)
	}
	began := a.total
	err := s.get(ctx, a, p)
	if alt := s.loc.alt; alt != nil && errors.Is(err, ErrMissing) && a.total == began && (!s.loc.local || guard.IsFile(alt)) {
		p.url = alt
		if s.get(ctx, a, p) == nil {
			s.remember(p, alt)
			return nil
		}
	}
	if errors.Is(err, ErrMissing) {
		return s.lose(span.File, err)
	}
	return err
}

// remember notes from where a file comes from now on.
func (s *Seed) remember(p part, u *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.moved) < maxMoved {
		s.moved[p.file] = u
	}
}

// lose notes that the server does not have a file. If it was the last one, the server is useless.
func (s *Seed) lose(file int, cause error) error {
	f := &s.cfg.Info.Files[file]
	s.mu.Lock()
	known := s.missing[file]
	s.missing[file] = true
	useless := true
	for i := range s.cfg.Info.Files {
		o := &s.cfg.Info.Files[i]
		if !o.Pad && o.Length > 0 && !s.missing[i] {
			useless = false
			break
		}
	}
	s.mu.Unlock()
	if !known {
		s.cfg.Logger.Debug("web seed lacks a file", "host", s.Host(), "file", file, "err", cause)
		s.cfg.Handler.Lost(s.cfg.Info.PieceOf(f.Offset), s.cfg.Info.PieceOf(f.Offset+f.Length-1))
	}
	if useless {
		return &failure{err: cause, fatal: true}
	}
	return errLost
}

// errLost ends a run whose rest is rejected although the server works.
var errLost = errors.New("file is missing")

// part is the range of one HTTP request.
type part struct {
	url         *url.URL
	file        int
	ranged      bool  // else the URL says which part
	off, length int64 // in the file
	size        int64 // of the file
}

// get makes one HTTP request and passes on the answer.
func (s *Seed) get(ctx context.Context, a *assembler, p part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sent atomic.Pointer[time.Time] // an answer may come before the transport reports that it has asked
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(new(time.Now())) },
	})
	ctx = guard.WithLocal(ctx, s.mayAskLocally(p.url))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.String(), nil)
	if err != nil {
		return fmt.Errorf("build request: %w", ErrURL)
	}
	req.Header.Set("User-Agent", version.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if p.ranged {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", p.off, p.off+p.length-1))
	}
	resp, err := a.run.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text has the whole URL, password included
		}
		return fatalIfForbidden(err)
	}
	defer resp.Body.Close()
	if at := sent.Load(); at != nil {
		s.mu.Lock()
		s.stats.answered(time.Since(*at))
		s.mu.Unlock()
	}
	if err := checkResponse(resp, p); err != nil {
		return err
	}
	if p.ranged && resp.Request.URL != req.URL {
		s.remember(p, resp.Request.URL)
	}
	stall := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()
	err = a.read(&patientReader{resp.Body, stall, stallTimeout}, p.length)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

var errStalled = errors.New("server stopped sending")

// patientReader lets each read wait for so long. What is done with the bytes
// in between may take its time.
type patientReader struct {
	r     io.Reader
	stall *time.Timer
	time  time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.stall.Reset(p.time)
	defer p.stall.Stop()
	return p.r.Read(b)
}

// assembler makes the blocks of a run from the bytes of its files, each byte
// read into its block's own buffer.
type assembler struct {
	seed  *Seed
	run   *run
	block int    // index in run.blocks
	buf   []byte // of that block
	n     int    // bytes of it that are there
	total int64
}

// fill calls f with buffers of at most n bytes altogether. f says how many it
// has filled.
func (a *assembler) fill(n int64, f func([]byte) (int, error)) error {
	for n > 0 {
		if a.block == len(a.run.blocks) {
			return fmt.Errorf("assemble blocks: more than was asked for: %w", ErrResponse)
		}
		if a.buf == nil {
			a.buf = make([]byte, a.run.blocks[a.block].length)
		}
		room := a.buf[a.n:]
		if int64(len(room)) > n {
			room = room[:n]
		}
		k, err := f(room)
		a.n += k
		a.total += int64(k)
		n -= int64(k)
		if a.n == len(a.buf) {
			a.seed.deliver(a.run, a.buf)
			a.block, a.buf, a.n = a.block+1, nil, 0
		}
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

func (a *assembler) read(r io.Reader, n int64) error {
	return a.fill(n, func(b []byte) (int, error) {
		k, err := r.Read(b)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return k, err
	})
}

func (a *assembler) zeros(n int64) error {
	return a.fill(n, func(b []byte) (int, error) { return len(b), nil })
}
