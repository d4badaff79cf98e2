import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;
import org.springframework.core.ParameterizedTypeReference;
import org.springframework.http.codec.ServerSentEvent;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Flux;
import reactor.util.retry.Retry;

class SpringWebClient {
  public static void main(String[] args) {
    AtomicReference<String> cursor = new AtomicReference<>("");
    WebClient.Builder builder = WebClient.builder();
    //+ builder.codecs(codecs -> codecs.defaultCodecs().maxInMemorySize(16 << 20));
    WebClient client = builder.build();
    Flux<ServerSentEvent<JsonNode>> events = Flux.defer(() -> client.get()
        .uri(System.getenv("HOOKRILL_URL"))
        .header("Last-Event-ID", cursor.get())
        .retrieve()
        .bodyToFlux(new ParameterizedTypeReference<ServerSentEvent<JsonNode>>() {}));
    //+ events = events.doOnNext(event -> cursor.set(event.id()));
    //+ events = events.concatWith(Flux.error(new IllegalStateException("ended")));
    //+ events = events.retryWhen(Retry.fixedDelay(Long.MAX_VALUE, Duration.ofSeconds(1)));
    events
        .doOnNext(event -> System.out.println("event " + event.id() + " " + event.data().path("n").asText("-")))
        .blockLast();
    System.out.println("end");
  }
}
