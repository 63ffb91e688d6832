package session

import (
	"fmt"
	"testing"
)

func TestMemoryValidate(t *testing.T) {
	for limit, want := range map[int64]string{
		DefaultMemory().Limit: "<nil>",
		-1:                    "<nil>",
		1 << 20:               "<nil>",
		1<<20 - 1:             "limit: 1048575 must be at least 1048576 bytes, or off for no bound",
		0:                     "limit: 0 must be at least 1048576 bytes, or off for no bound",
	} {
		if got := fmt.Sprint(Memory{Limit: limit}.Validate()); got != want {
			t.Errorf("%d: got %s; want %s", limit, got, want)
		}
	}
}
