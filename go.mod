module sidecar

go 1.26
