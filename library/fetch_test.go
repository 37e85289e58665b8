package library

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// A server that sends a byte now and then, without end, is given up.
func TestFetchEnds(t *testing.T) {
	never := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case <-never:
				return
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
				fmt.Fprint(w, "d")
				w.(http.Flusher).Flush()
			}
		}
	}))
	defer srv.Close()
	defer close(never)
	u, err := url.Parse(srv.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	err = (*Network)(nil).fetch(t.Context(), u, 50*time.Millisecond, func(got answer) error {
		_, err := ReadRef(got.body, "slow")
		return err
	})
	var fetch *FetchError
	if !errors.As(err, &fetch) || !errors.Is(err, ErrTooSlow) {
		t.Errorf("a server that trickles: %v", err)
	}
}
