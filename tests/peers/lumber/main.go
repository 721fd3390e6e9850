// Elastic's own server of the lumberjack protocol (go-lumber, what Elastic Agent and the Collector's beats receiver listen with),
// for tests: prints the address that it listens on, then each event as a line of JSON, and acknowledges what it printed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/elastic/go-lumber/server"
)

func main() {
	pause := flag.Duration("pause", 0, "how long each batch takes")
	keepalive := flag.Duration("keepalive", time.Second, "how often to say that a batch is still worked on")
	flag.Parse()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, listener.Addr())
	out.Flush()

	s, err := server.NewWithListener(listener, server.V2(true), server.Keepalive(*keepalive))
	if err != nil {
		log.Fatal(err)
	}
	encoder := json.NewEncoder(out)
	for batch := range s.ReceiveChan() {
		time.Sleep(*pause)
		for _, event := range batch.Events {
			if err := encoder.Encode(event); err != nil {
				log.Fatal(err)
			}
		}
		out.Flush()
		batch.ACK()
	}
}
