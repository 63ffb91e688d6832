// Package proxy is the WebSocket side: it dials the backend, relays raw
// WebSocket connections frame by frame without decoding them, and passes plain
// HTTP through.
//
// A raw connection's handshake goes through to the backend and its answer back,
// so that subprotocols and extensions are agreed end to end. Then frames pass as
// they are: headers are walked, payloads neither unmasked nor copied. pair is all
// the rules of that, without I/O; relay is what moves the bytes.
//
// A session's messages are decoded: Dialer opens its connection to the backend, a
// Link, and Carriers carry it over a client's WebSocket. Both are hops: gorilla
// puts messages together, beneath it the same walker holds the same rules.
package proxy
