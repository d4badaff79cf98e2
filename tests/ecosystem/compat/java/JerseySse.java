import com.fasterxml.jackson.databind.ObjectMapper;
import jakarta.ws.rs.client.ClientBuilder;
import jakarta.ws.rs.sse.SseEventSource;
import java.util.concurrent.CountDownLatch;

class JerseySse {
  public static void main(String[] args) throws Exception {
    ObjectMapper json = new ObjectMapper();
    CountDownLatch ended = new CountDownLatch(1);
    var target = ClientBuilder.newClient().target(System.getenv("HOOKRILL_URL"));
    SseEventSource source = SseEventSource.target(target).build();
    source.register(event -> {
      try {
        System.out.println("event " + event.getId() + " " + json.readTree(event.readData()).path("n").asText("-"));
      } catch (Exception broken) {
        throw new RuntimeException(broken);
      }
    }, error -> System.out.println("error " + error), ended::countDown);
    source.open();
    ended.await();
    System.out.println("end");
    System.exit(0);
  }
}
