package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/launchdarkly/eventsource"
)

func main() {
	stream, err := eventsource.Subscribe(os.Getenv("HOOKRILL_URL"), "")
	if err != nil {
		fmt.Println("end", err)
		return
	}
	go func() {
		for err := range stream.Errors {
			fmt.Println("error", err)
		}
	}()
	for event := range stream.Events {
		var body struct{ N any }
		if err := json.Unmarshal([]byte(event.Data()), &body); err != nil {
			panic(err)
		}
		fmt.Println("event", event.Id(), body.N)
	}
}
