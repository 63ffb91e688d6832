// Command bench measures the sidecar beside nginx, HAProxy and no proxy at all,
// on loopback: memory per idle connection, processor time per message and per
// connection, and the delay of a broadcast. It prints a table of ratios.
//
//	go run ./bench -h
package main
