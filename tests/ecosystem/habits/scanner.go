// A subscriber as many are written in Go: bufio.Scanner with its limit of 64 KiB a
// line, and the id of the last event on the next connection.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	url, id := os.Args[1], os.Args[2]
	connections, _ := strconv.Atoi(os.Args[3])
	for ; connections > 0; connections-- {
		request, _ := http.NewRequest("GET", url, nil)
		request.Header.Set("Last-Event-ID", id)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		scanner := bufio.NewScanner(response.Body)
		seen := id
		for scanner.Scan() {
			line := scanner.Text()
			if value, found := strings.CutPrefix(line, "id: "); found {
				seen = value
			} else if line == "" {
				// An event counts once it is whole.
				id = seen
			}
		}
		fmt.Println(scanner.Err())
		response.Body.Close()
	}
	fmt.Println(id)
}
