// Stock Engine.IO clients in Node: node engine.mjs PACKAGE CONTROL-URL
import { WebSocket } from "ws";
import { obey } from "./obey.mjs";

const { Socket } = await import(process.argv[2]);
const control = new WebSocket(process.argv[3]);
obey(control, Socket);
control.onclose = () => process.exit(0); // do not outlive the test
