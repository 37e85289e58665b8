//go:build !linux && !darwin

package egress

import "errors"

// canBind: nothing here keeps a socket to one interface; an address of its own
// would not.
const canBind = false

func bindTo(int, string, string) error {
	return errors.New("not possible on this system")
}
