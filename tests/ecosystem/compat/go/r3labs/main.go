package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/r3labs/sse/v2"
)

func main() {
	client := sse.NewClient(os.Getenv("HOOKRILL_URL")) //-
	//+ client := sse.NewClient(os.Getenv("HOOKRILL_URL"), sse.ClientMaxBufferSize(1<<20))
	err := client.SubscribeRaw(func(event *sse.Event) {
		var body struct{ N any }
		if err := json.Unmarshal(event.Data, &body); err != nil {
			panic(err)
		}
		fmt.Println("event", string(event.ID), body.N)
	})
	fmt.Println("end", err)
}
