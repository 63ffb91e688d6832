package session

import (
	"errors"
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

// A reload may change the bound while sessions live.
func TestMemoryIsSetAnew(t *testing.T) {
	all := Sessions{Memory: 1 << 30}
	all.Set(Memory{Limit: 2 * perSession})
	set := Default()
	first, _ := open(t, &all, set)
	present, _ := open(t, &all, set)
	present.Attach(nothing)
	if _, err := all.Open(Opening{Settings: &set, Backend: &stub{}}); !errors.Is(err, ErrFull) {
		t.Errorf("the third: %v; want %v", err, ErrFull)
	}
	all.Set(Memory{Limit: 2 * perSession, Evict: true})
	if _, err := all.Open(Opening{Settings: &set, Backend: &stub{}}); err != nil || first.Ended() != Evicted || present.Ended() != 0 {
		t.Errorf("with evict: %v, the absent one ended %v, the present one %v; want room, evicted and not", err, first.Ended(), present.Ended())
	}
	all.Set(Memory{Limit: -1})
	for range 10 {
		open(t, &all, set)
	}
	if got, want := all.Held(), int64(12*perSession); got != want {
		t.Errorf("%d bytes are held without a bound; want %d", got, want)
	}
}
