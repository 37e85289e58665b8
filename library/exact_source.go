package library

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"torrentfs/internal/version"
	"torrentfs/metainfo"
	"torrentfs/net/guard"
	"torrentfs/swarm"
)

const (
	maxSources    = 4           // exact sources of a link that are asked
	sourceTimeout = time.Minute // of one, from the first byte sent to the last received
	sourceHops    = 5
)

var errOtherTorrent = errors.New("it is the .torrent of another torrent")

// sourced is the end of a search for metadata.
type sourced struct {
	meta  *metainfo.MetaInfo // from an exact source; nil: not from there
	found *swarm.Metadata
	err   error
}

// exactSource fetches a link's .torrent from where the link says that it is (xs), one
// place after the other. Its info-hash has to be the link's; of all else in it only
// the piece layers are taken, which are checked against the hash.
func (l *Library) exactSource(ctx context.Context, m *metainfo.Magnet) (*metainfo.MetaInfo, error) {
	var errs []error
	for _, raw := range m.Sources[:min(len(m.Sources), maxSources)] {
		mi, err := l.fetchSource(ctx, raw)
		switch {
		case err != nil:
		case m.Hash.HasV1 && mi.Info.Hash.V1 != m.Hash.V1, m.Hash.HasV2 && mi.Info.Hash.V2 != m.Hash.V2:
			err = errOtherTorrent
		default:
			return mi, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.log.Warn("get the .torrent that the link names", "url", guard.Redact(raw), "err", err)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// fetchSource reads a .torrent at a URL that a stranger wrote.
func (l *Library) fetchSource(ctx context.Context, raw string) (*metainfo.MetaInfo, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("not a usable URL")
	}
	local := guard.IsLocalName(u.Hostname()) && !l.webDialer.Trusts(u.Hostname())
	if local && !guard.IsFile(u) {
		return nil, fmt.Errorf("%w (--trust-host %s allows it)", guard.ErrForbidden, u.Hostname())
	}
	ctx, cancel := context.WithTimeout(guard.WithLocal(ctx, local), sourceTimeout)
	defer cancel()
	client := http.Client{
		Transport: &http.Transport{DialContext: l.webDialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: sourceTimeout / 3, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			to := req.URL.Hostname()
			switch {
			case len(via) > sourceHops:
				return errors.New("too many redirects")
			case req.URL.Scheme != "http" && req.URL.Scheme != "https":
				return errors.New("redirect to what is not the web")
			case guard.IsLocalName(to) && !l.webDialer.Trusts(to):
				return guard.ErrForbidden
			}
			*req = *req.WithContext(guard.WithLocal(req.Context(), false))
			req.Header.Del("Referer")
			return guard.CheckName(to)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("not a usable URL")
	}
	req.Header.Set("User-Agent", version.UserAgent)
	resp, err := client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // its text has the whole URL
		}
		return nil, guard.RedactError(err, u)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server says %s", resp.Status)
	}
	return metainfo.Read(resp.Body, metainfo.Limits{})
}

// findMetadata asks peers for a link's metadata and, beside them, the link's exact
// sources. Who has it first ends the search.
func (l *Library) findMetadata(ctx context.Context, m *metainfo.Magnet, cfg swarm.MetadataConfig) sourced {
	if len(m.Sources) == 0 {
		found, err := l.session.FetchMetadata(ctx, cfg)
		return sourced{found: found, err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fetched := make(chan *metainfo.MetaInfo, 1)
	go func() {
		defer close(fetched)
		if mi, err := l.exactSource(ctx, m); err == nil {
			fetched <- mi
			cancel()
		}
	}()
	found, err := l.session.FetchMetadata(ctx, cfg)
	cancel()
	mi := <-fetched
	switch {
	case err == nil:
		return sourced{found: found}
	case mi != nil:
		return sourced{meta: mi}
	}
	return sourced{err: err}
}
