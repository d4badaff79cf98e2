import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;

class ApacheHttpClient {
  static String cursor = "";

  public static void main(String[] args) throws Exception {
    try (CloseableHttpClient client = HttpClients.createDefault()) {
      //+ for (;;) { try { follow(client); } catch (IOException lost) {} Thread.sleep(1000); }
      follow(client); //-
      System.out.println("end"); //-
    }
  }

  static void follow(CloseableHttpClient client) throws IOException {
    ObjectMapper json = new ObjectMapper();
    HttpGet request = new HttpGet(System.getenv("HOOKRILL_URL"));
    request.setHeader("Accept", "application/x-ndjson");
    request.setHeader("Last-Event-ID", cursor);
    client.execute(request, response -> {
      var lines = new BufferedReader(new InputStreamReader(response.getEntity().getContent(), StandardCharsets.UTF_8));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode event = json.readTree(line);
        System.out.println("event " + event.path("id").asText() + " " + event.path("data").path("n").asText("-"));
        cursor = event.path("id").asText();
      }
      return null;
    });
  }
}
