// Package acme tests the program against a real certificate authority: pebble, its
// validation and its DNS, in the tests' own process and on loopback only. It is a
// module of its own, so that who builds the program downloads none of that.
package acme
