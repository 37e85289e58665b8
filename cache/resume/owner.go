package resume

import (
	"bytes"
	"encoding/json"
)

// Owner is what the holder of a lock writes into it. Nobody trusts it
// unless such a process runs, and began when this one did: what a killed
// process has left claims nothing, and neither does that of another machine or
// container.
type Owner struct {
	PID     int    `json:"pid"`
	Started string `json:"started"` // tells a process from others that had its id: the boot and the ticks since then
	Purpose string `json:"purpose"`
}

// MaxOwner bounds what is read of a lock, which others may have written.
const MaxOwner = 4096

// DecodeOwner reads what the holder of a lock wrote, or another program.
func DecodeOwner(data []byte) (o Owner, ok bool) {
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&o); err != nil || o.PID <= 0 || o.Purpose == "" {
		return Owner{}, false
	}
	return o, true
}
