package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/tmaxmax/go-sse"
)

func main() {
	request, err := http.NewRequest(http.MethodGet, os.Getenv("HOOKRILL_URL"), http.NoBody)
	if err != nil {
		panic(err)
	}
	connection := sse.DefaultClient.NewConnection(request)
	//+ connection.Buffer(nil, 1<<20)
	connection.SubscribeToAll(func(event sse.Event) {
		var body struct{ N any }
		if err := json.Unmarshal([]byte(event.Data), &body); err != nil {
			panic(err)
		}
		fmt.Println("event", event.LastEventID, body.N)
	})
	fmt.Println("end", connection.Connect())
}
