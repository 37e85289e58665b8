package resume

import (
	"encoding/json"
	"testing"
)

// Whatever a lock holds, reading it ends, and what is written is read again.
func FuzzLockOwner(f *testing.F) {
	f.Add([]byte(`{"pid":12,"started":"b/3","purpose":"torrentfs seed"}` + "\n"))
	f.Add([]byte(`{"pid":1e3,"purpose":7}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, ok := DecodeOwner(data)
		if !ok {
			return
		}
		if o.PID <= 0 || o.Purpose == "" {
			t.Fatalf("accepted %+v", o)
		}
		again, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := DecodeOwner(again); !ok || got != o {
			t.Fatalf("%+v came back as %+v", o, got)
		}
	})
}
