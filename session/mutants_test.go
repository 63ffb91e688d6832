package session

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are mistakes in the session's own code, which tests must find: what a
// planted fault cannot do from outside. Each is a piece of a file, and another in
// its place.
var mutants = []struct{ name, file, old, new string }{
	{"a wake is lost", "reader.go", "	r.woken = false\n", ""},
	{"a wake comes each time", "reader.go", "	r.woken = true\n", ""},
	{"a replaced reader is not woken", "reader.go", "	a.wake = s.rouse() // the one before\n", ""},
	{"a reader starts at its own number", "reader.go", "	r.last = max(r.last, s.log.base)", "	_ = max(r.last, s.log.base)"},
	{"the close does not wait for the tail", "reader.go", "s.close != nil && b.Last() == s.log.last()", "s.close != nil && b.Last() <= s.log.last()"},
	{"a replaced reader leaves for the new one", "reader.go", "	if s.reader == r {\n", "	if s.reader != nil {\n"},
	{"what is resumed behind may be forgotten", "reader.go", "last < s.log.base {", "last+1 < s.log.base {"},
	{"an absence does not end", "reader.go", "	away = s.come()\n", ""},
	{"acks do not count as hearing", "down.go", "	s.heed()\n	if last", "	if last"},
	{"a close lengthens an absence", "down.go", "if s.left.IsZero() {", "if true {"},
	{"a close does not wake", "down.go", "		a.wake = s.rouse()\n	}\n	s.mu.Unlock()", "	}\n	s.mu.Unlock()"},
	{"the close is acknowledged by the last message", "down.go", "last > s.log.last() {", "last >= s.log.last() {"},
	{"what was not sent can be acknowledged", "down.go", "if last > s.sent {", "if last > s.sent+1 {"},
	{"the window is not looked at", "down.go", "return s.log.size < s.settings.Window ||", "return true ||"},
	{"the memory of all is not looked at", "down.go", "case s.sessions.full():", "case false:"},
	{"an empty log has no room", "down.go", "case s.log.len() == 0:", "case false:"},
	{"overflow ends a session too early", "down.go", "s.log.size >= s.settings.Window {", "s.log.size+m.size() >= s.settings.Window {"},
	{"freed memory is not given back", "down.go", "s.sessions.held.Add(-s.log.drop(last))", "s.log.drop(last)"},
	{"room is told again and again", "down.go", "		s.paused = false\n", ""},
	{"pauses are not noticed", "down.go", "s.paused, a.paused = true, true", "a.paused = true"},
	{"received before it is written", "up.go", "	failed := s.backend.Write(m)\n	s.mu.Lock()\n	if failed == nil {\n		s.received++\n", "	s.mu.Lock()\n	s.received++\n	s.mu.Unlock()\n	failed := s.backend.Write(m)\n	s.mu.Lock()\n	if failed == nil {\n"},
	{"a failed write counts", "up.go", "	} else {\n		s.closing = true", "	} else {\n		s.received++\n		s.closing = true"},
	{"more follows a failed write", "up.go", "	} else {\n		s.closing = true\n		err = s.open()", "	} else {\n		err = ErrClosing"},
	{"more follows the client's close", "up.go", "	if err == nil {\n		s.closing = true", "	if err == nil {"},
	{"gaps are not seen", "up.go", "case first > s.received+1:", "case first > s.received+2:"},
	{"what came before is not skipped", "up.go", "return int(min(s.received+1-first, uint64(n))), nil", "return 0, nil"},
	{"two send at once", "up.go", "s.turn = make(chan struct{}, 1)", "s.turn = make(chan struct{}, 2)"},
	{"sending does not count as hearing", "up.go", "	s.heed()\n", ""},
	{"those who wait are not counted down", "up.go", "		s.waiting--\n", ""},
	{"the end does not wake", "session.go", "aftermath{wake: s.rouse(), room", "aftermath{room"},
	{"the end leaves the backend waiting for room", "session.go", "room: s.paused, hangUp", "hangUp"},
	{"the end leaves the backend open", "session.go", ", hangUp: c, ended", ", ended"},
	{"the end comes twice", "session.go", "	if s.reason != 0 {\n		return aftermath{}\n	}\n	a :=", "	a :="},
	{"the end keeps memory", "session.go", "	s.sessions.held.Add(-s.log.size)\n", ""},
	{"the end keeps the place among the absent", "session.go", "	s.come()\n	s.reason", "	s.reason"},
	{"a backend that has closed is closed", "session.go", "	if s.close != nil {\n		return nil\n	}\n	return &c", "	return &c"},
	{"a client that came back expires", "session.go", "case !s.mortal():", "case false:"},
	{"the timer does not look how late it is", "session.go", "case rest > 0:", "case rest > 1<<62:"},
	{"the timer is not set anew", "session.go", "		s.timer.Reset(rest)\n", ""},
	{"who is away is not mortal", "session.go", "!s.left.IsZero() || s.close != nil)", "s.close != nil)"},
	{"who has a close to acknowledge is not mortal", "session.go", "(!s.left.IsZero() || s.close != nil)", "!s.left.IsZero()"},
	{"one that is there is evicted", "session.go", "	if !s.left.IsZero() {\n		a = s.end(Evicted", "	if true {\n		a = s.end(Evicted"},
	{"the last to leave is evicted", "sessions.go", "	s := t.head\n", "	s := t.tail\n"},
	{"the absent are in disorder", "sessions.go", "		s.next.prev = s.prev\n", "		s.next.prev = nil\n"},
	{"there is no tombstone", "sessions.go", "	t.tombstones.Add(s.key, s.reason)\n", ""},
	{"another identity's session is found", "sessions.go", "t.live[key{id, who}]; ok", "t.live[key{id, Identity{}}]; ok"},
	{"the bound on memory is not one", "sessions.go", "t.held.Load() >= t.Memory", "false"},
	{"a log's slots are mixed up", "log.go", "		l.slots, l.gone = l.slots[:n], 0", "		l.slots, l.gone = l.slots[:n], 1"},
	{"a batch is larger than asked for", "log.go", "i > 0 && size > most", "i > 0 && size > 1<<40"},
	{"a batch may be empty", "log.go", "i > 0 && size > most", "i >= 0 && size > most"},
}

func TestMutants(t *testing.T) {
	if !long() {
		t.Skip("takes too long for every run (./test/run --long)")
	}
	seed(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			path := filepath.Join(here, m.file)
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%s has it %d times; want once", m.file, n)
			}
			mutant := filepath.Join(t.TempDir(), m.file)
			overlay := filepath.Join(t.TempDir(), "overlay.json")
			list, _ := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
			if err := errors.Join(
				os.WriteFile(mutant, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600),
				os.WriteFile(overlay, list, 0o600)); err != nil {
				t.Fatal(err)
			}
			test := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-count=1", "-failfast", "-timeout=60s",
				"-skip=Planted|Idle", ".")
			test.Env = append(os.Environ(), "E2E_LONG=")
			out, err := test.CombinedOutput()
			switch {
			case err == nil:
				t.Error("no test fails")
			case strings.Contains(string(out), "[build failed]"):
				t.Errorf("it does not build: %s", out)
			}
		})
	}
}
