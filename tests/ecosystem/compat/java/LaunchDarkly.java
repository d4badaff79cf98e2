import com.fasterxml.jackson.databind.ObjectMapper;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.net.URI;

class LaunchDarkly {
  public static void main(String[] args) throws Exception {
    EventSource.Builder builder = new EventSource.Builder(URI.create(System.getenv("HOOKRILL_URL")));
    //+ builder.errorStrategy(ErrorStrategy.alwaysContinue());
    EventSource source = builder.build();
    ObjectMapper json = new ObjectMapper();
    source.start();
    for (MessageEvent event : source.messages()) {
      System.out.println("event " + event.getLastEventId() + " " + json.readTree(event.getData()).path("n").asText("-"));
    }
    System.out.println("end");
  }
}
