package proxy

import (
	"testing"

	"sidecar/loop"
)

// loops is what relays in connect: nil is two goroutines a connection.
var loops *loop.Group

// TestOnLoops runs every test of a relayed connection again, on epoll loops: one
// behaviour, one set of tests.
func TestOnLoops(t *testing.T) {
	loops = startGroup(t)
	defer func() { loops = nil }()
	eachRelayTest(t)
}

// TestTLSOnLoops runs them with TLS towards the client, on epoll loops.
func TestTLSOnLoops(t *testing.T) {
	overTLS = true
	defer func() { overTLS = false }()
	TestOnLoops(t)
}

// TestTLSBothHopsOnLoops runs them with TLS on both hops.
func TestTLSBothHopsOnLoops(t *testing.T) {
	overWSS = true
	defer func() { overWSS = false }()
	TestTLSOnLoops(t)
}

// TestTLSBothHopsOnGoroutines runs them with TLS on both hops, the plain way.
func TestTLSBothHopsOnGoroutines(t *testing.T) {
	overTLS, overWSS = true, true
	defer func() { overTLS, overWSS = false, false }()
	eachRelayTest(t)
}

func eachRelayTest(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"FramesPassAsTheyAre", TestFramesPassAsTheyAre},
		{"FramesPassByteByByte", TestFramesPassByteByByte},
		{"FaultyFramesEndTheConnection", TestFaultyFramesEndTheConnection},
		{"FaultyLengthsAndMasks", TestFaultyLengthsAndMasks},
		{"TinyFragmentsAreBounded", TestTinyFragmentsAreBounded},
		{"ClosesPassBothWays", TestClosesPassBothWays},
		{"NothingPassesAfterAClose", TestNothingPassesAfterAClose},
		{"UnansweredCloseEnds", TestUnansweredCloseEnds},
		{"RelayEchoes", TestRelayEchoes},
		{"BackendHangsUpFirst", TestBackendHangsUpFirst},
		{"SocketsThatEndWithoutAClose", TestSocketsThatEndWithoutAClose},
		{"SocketThatEndsInMidFrame", TestSocketThatEndsInMidFrame},
		{"LastWordsSurviveAFailedWrite", TestLastWordsSurviveAFailedWrite},
		{"HeartbeatOverSockets", TestHeartbeatOverSockets},
		{"SilentEndIsGivenUp", TestSilentEndIsGivenUp},
		{"SlowReaderStopsTheSender", TestSlowReaderStopsTheSender},
		{"SlowReaderIsServed", TestSlowReaderIsServed},
		{"SlowReaderKeepsItsHeartbeat", TestSlowReaderKeepsItsHeartbeat},
		{"StuckWriteCostsNoProcessor", TestStuckWriteCostsNoProcessor},
		{"DrainAsksEverybodyAndWaits", TestDrainAsksEverybodyAndWaits},
		{"DrainCutsWhoeverStays", TestDrainCutsWhoeverStays},
		{"DrainSpreadsItsCloses", TestDrainSpreadsItsCloses},
		{"NothingIsLeftBehind", TestNothingIsLeftBehind},
	} {
		t.Run(c.name, c.test)
	}
}
