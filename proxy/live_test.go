package proxy

import (
	"testing"
	"testing/synctest"
)

type nobodyRelayed struct{ relayed }

// Places are used again, and none is kept once everybody has left.
func TestLivePlaces(t *testing.T) {
	var l Live
	relays := make([]*nobodyRelayed, 100)
	places := make([]uint32, len(relays))
	enter := func(i int) {
		relays[i] = &nobodyRelayed{}
		places[i], _, _, _ = l.add(relays[i])
	}
	for i := range relays {
		enter(i)
	}
	for i := 0; i < len(relays); i += 2 {
		l.remove(places[i])
	}
	if l.Len() != 50 || len(l.list()) != 50 {
		t.Errorf("%d there, %d listed; want 50", l.Len(), len(l.list()))
	}
	for i := 0; i < len(relays); i += 2 {
		enter(i)
	}
	seen := map[relayed]bool{}
	for _, r := range l.list() {
		seen[r] = true
	}
	if l.Len() != len(relays) || len(seen) != len(relays) || len(l.relays) != len(relays) {
		t.Errorf("%d there, %d different ones listed, in %d places; want %d", l.Len(), len(seen), len(l.relays), len(relays))
	}
	for _, place := range places {
		l.remove(place)
	}
	if l.Len() != 0 || l.relays != nil || l.free != nil {
		t.Errorf("%d there, %d places kept; want none", l.Len(), len(l.relays))
	}
}

func TestADrainWaitsForWhatIsDoneLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Live
		hold := make(chan struct{})
		l.Later(func() { <-hold })
		ended := make(chan int, 1)
		go func() { ended <- l.Drain(t.Context(), 0, 1001, "") }()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("the drain did not wait")
		default:
		}
		if n := l.Len(); n != 1 {
			t.Errorf("%d live; want what is still to be done", n)
		}
		close(hold)
		if cut := <-ended; cut != 0 || l.Len() != 0 {
			t.Errorf("%d were cut, %d are left; want none", cut, l.Len())
		}
	})
}
